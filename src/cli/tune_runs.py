"""Carrying out what ``tune_models.py`` was asked for: a new search, one to go on with, or a part in somebody's."""

from __future__ import annotations

import contextlib
import dataclasses
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from ..tuning.reports import TrialRecord
from ..tuning.request import SearchRequest
from .common import python_command
from .train_output import print_data, print_where_to_look, show_results
from .train_runs import (
    Way,
    carry_out,
    check_watching,
    copied_into,
    job_count,
    parse_jobs,
    shown_command,
    termination_interrupts,
    worker_environment,
)

if TYPE_CHECKING:
    import optuna

    from ..data.loading import Data
    from ..fanout import Outcome, StandbyWorkers, Task
    from ..plan import RunPlan
    from ..tuning.studies import ModelSearch
    from ..tuning.study_log import StudyLog
    from .tune_output import ModelOutcome
    from .tune_progress import SearchPrinter

TRIAL_MODULE = f"{__package__.rpartition('.')[0]}.tuning.trial"
POLL_SECONDS = 1.0  # between two looks at trials that run elsewhere


@dataclass(frozen=True)
class SearchWay(Way):
    """How a command goes about its trials.

    Attributes:
        timeout: seconds after which no trial is begun any more; None for no limit.
    """

    timeout: float | None = None


def start_search(request: SearchRequest, output: Path, name: str | None, way: SearchWay) -> int:
    """Check everything, make the search's folder and studies, and search. Returns the exit code."""
    parse_jobs(way.jobs)
    check_watching(request.logging, way.delivery)
    from ..fanout import StandbyWorkers

    workers = 1 if way.dry_run else min(job_count(way.jobs, request.training), request.config.total)
    with StandbyWorkers(workers, TRIAL_MODULE, worker_environment(request.training)) as standby:
        from ..data.snapshot import is_repeatable
        from ..experiment import cached_data
        from ..tracking.run_folder import create_root, only_command_on
        from ..training.device import select_device
        from ..tuning.search import plan_search, write_search
        from ..tuning.storage import absolute, default_storage
        from ..tuning.studies import create_study, shared_storage

        select_device(request.training.device)
        if way.dry_run or is_repeatable(request.data.data):
            root = None
            kept: contextlib.AbstractContextManager[Any] = contextlib.nullcontext(request.data)
        else:
            root = create_root(output, name)
            kept = copied_into(root, request.data)
        with kept as options:
            data = cached_data(options)
            searches, left_out = plan_search(request, data)
        print_data(data, left_out)
        show_plan(searches, data, way)
        if way.dry_run:
            return 0
        if request.storage:
            # `--resume` may be typed somewhere else.
            request = dataclasses.replace(request, storage=absolute(request.storage))
            shared_storage(str(request.storage))  # what is wrong with it is told before a folder is made
        root = root or create_root(output, name)
        with only_command_on(root):
            searches = [dataclasses.replace(s, search=root.name, root=str(root.absolute())) for s in searches]
            place = request.storage or default_storage(root)
            write_search(root, request, searches, place, shown_command(sys.argv))
            studies = [create_study(shared_storage(place), search) for search in searches]
            print(f"writing to {root}", flush=True)
            return Work(root, place, list(zip(studies, searches, strict=True)), way).lead(request, data, standby)


def show_plan(searches: Sequence[ModelSearch], data: Data, way: SearchWay) -> None:
    """What is searched; in a dry run also what it will cost, which is measured."""
    from .tune_output import print_cost, print_space

    config, objective = searches[0].config, searches[0].objective
    print_space([search.space for search in searches], config, objective)
    if way.dry_run:
        from ..tuning.cost import seconds_per_epoch

        costs = {search.model: seconds_per_epoch(search, data) for search in searches}
        print_cost(costs, config, job_count(way.jobs, searches[0].plan.training))


def resume_search(root: Path, storage: str | None, way: SearchWay) -> int:
    """Go on with a search: the trials that are missing, then the final runs. Returns the exit code.

    Args:
        root: the search's folder.
        storage: where its studies are, if ``search.json`` does not say so or leaves a password out.
        way: how to go about it.
    """
    parse_jobs(way.jobs)
    from ..experiment import cached_data
    from ..tracking.run_folder import only_command_on
    from ..tuning.search import read_search, set_status
    from ..tuning.studies import find_search

    known = read_search(root)
    place = storage or _stored_place(root, known.storage, known.request.storage is None)
    found = find_search(place, known.name)
    by_model = {search.model: (study, search) for study, search in found}
    if missing := [model for model in known.models if model not in by_model]:
        raise UserError(f"the storage must hold all studies of {root}, but {', '.join(missing)} is not there")
    pairs = [(study, search.moved_to(root)) for study, search in (by_model[model] for model in known.models)]
    with only_command_on(root):
        data = cached_data(pairs[0][1].plan.data)
        print(f"resuming the search in {root}", flush=True)
        if way.dry_run:
            return 0
        set_status(root, "running")
        return Work(root, place, pairs, way).lead(known.request, data)


def _stored_place(root: Path, place: str, is_default: bool) -> str:
    """Where the studies are; a file in the search's folder moves with it."""
    from ..tuning.storage import default_storage

    if is_default:
        return default_storage(root)
    if "***" in place:
        raise UserError(f"the password of the storage {place} is not kept; give --storage URL with it")
    return place


def join_search(storage: str, name: str | None, output: Path, way: SearchWay) -> int:
    """Take part in a search that somebody else leads, until no trial is left. Returns the exit code.

    Args:
        storage: where its studies are.
        name: of the search, where the storage holds several.
        output: where to put the trials' folders, unless the search's own folder is on this machine.
        way: how to go about it.
    """
    parse_jobs(way.jobs)
    from ..tuning.studies import find_search

    pairs = find_search(storage, name)
    search = pairs[0][1]
    own = Path(search.root)
    root = own if own.is_dir() else output / search.search
    root.mkdir(parents=True, exist_ok=True)
    print(f"working for the search {search.search}, writing to {root}", flush=True)
    return Work(root, storage, pairs, way).help()


class Work:
    """Trials until none is left, shared with whoever else works for the same search.

    Args:
        root: the search's folder on this machine.
        place: the storage.
        pairs: every model's study, and what its trials share.
        way: how to go about it.
    """

    def __init__(
        self, root: Path, place: str, pairs: Sequence[tuple[optuna.Study, ModelSearch]], way: SearchWay
    ) -> None:
        from ..tuning.liveness import Watch

        self.root, self.place, self.pairs, self.way = root, place, list(pairs), way
        self.watch = Watch()
        self.logs: dict[str, StudyLog] = {}
        self.deadline = None if way.timeout is None else time.time() + way.timeout
        training = self.pairs[0][1].plan.training
        self.jobs, self.environment = job_count(way.jobs, training), worker_environment(training)

    def lead(self, request: SearchRequest, data: Data, standby: StandbyWorkers | None = None) -> int:
        """All trials, the studies' own runs in the dashboard, and the final runs."""
        from ..tuning.search import set_status
        from ..tuning.study_log import StudyLog

        for study, search in self.pairs:
            folder = self.root / search.plan.folder
            folder.mkdir(parents=True, exist_ok=True)
            self.logs[search.model] = StudyLog(
                folder, study, search.space, search.config, search.objective, tensorboard=request.tensorboard
            )
        try:
            self._until_done(data.fitted(), standby, resume=f"--resume {shlex.quote(str(self.root))}")
        except BaseException:
            set_status(self.root, "stopped")
            raise
        finally:
            for log in self.logs.values():
                log.close()
        set_status(self.root, "completed" if not self._left() else "stopped")
        return self._finish(request, data)

    def help(self) -> int:
        """Trials only; the leader does the rest."""
        storage = shlex.quote(hidden_place(self.place))
        self._until_done(None, None, resume=f"--worker --storage {storage}")
        return 0

    # --- trials -------------------------------------------------------------------------------------------------------

    def _until_done(self, fitted: dict[str, Any] | None, standby: StandbyWorkers | None, resume: str) -> None:
        """Rounds of trials: those that wait, then those whose worker died meanwhile, here or elsewhere."""
        from .tune_progress import SearchPrinter
        from .watch import dashboard

        _, first = self.pairs[0]
        ended = {search.model: records(study) for study, search in self.pairs}
        models = [search.model for _, search in self.pairs]
        printer = SearchPrinter(models, first.config, first.objective, ended=ended, jobs=self.jobs)
        try:
            with dashboard(self.root) if self.way.watch else contextlib.nullcontext(), termination_interrupts():
                while (tasks := self._next_tasks(fitted)) or self._wait_for_others():
                    if tasks:
                        self._round(tasks, printer, standby)
        except KeyboardInterrupt:
            printer.close()
            print(f"\nstopped; go on with: {python_command()} tune_models.py {resume}", file=sys.stderr)
            raise SystemExit(130) from None
        finally:
            printer.close()

    def _next_tasks(self, fitted: dict[str, Any] | None) -> list[Task]:
        """A task for every trial that waits, the models in turn."""
        from ..fanout import Task
        from ..tuning import slots
        from ..tuning.studies import is_hopeless
        from ..tuning.trial import write_results

        if self._is_late():
            return []
        waiting = []
        for study, search in self.pairs:
            for record in slots.bury_dead(study, self.watch):
                write_results(self.root, record, search.plan.training.seed)
                print(f"{search.model} trial {record.number}: {record.error}, it is done again", file=sys.stderr)
            slots.restore_slots(study, search.config)
            if not is_hopeless(study):
                count = slots.slot_counts(study, search.config).waiting
                waiting += [(place, search) for place in range(count)]
        shared = {"storage": self.place, "root": str(self.root), "fitted": fitted, "deadline": self.deadline}
        shared |= {"delivery": self.way.delivery.to_dict()}
        waiting.sort(key=lambda entry: entry[0])
        return [
            Task(f"{search.model}#{place}", {**shared, "study": search.study_name, "place": place})
            for place, search in waiting
        ]

    def _is_late(self) -> bool:
        return self.deadline is not None and time.time() > self.deadline

    def _wait_for_others(self) -> bool:
        """Wait a moment if trials run elsewhere: should their worker die, they are ours."""
        if self._is_late() or not any(self._running()):
            return False
        time.sleep(POLL_SECONDS)
        return True

    def _running(self) -> list[int]:
        from ..tuning import slots

        return [slots.slot_counts(study, search.config).running for study, search in self.pairs]

    def _round(self, tasks: Sequence[Task], printer: SearchPrinter, standby: StandbyWorkers | None) -> None:
        """Carry out the tasks.

        Raises:
            UserError: if none of them could be, and not for the fault of its configuration.
        """
        from ..fanout import run_all
        from ..tuning.trial import run_next_trial

        def on_outcome(outcome: Outcome) -> None:
            model = outcome.key.rpartition("#")[0]
            if outcome.status == "done" and outcome.result is not None and model in self.logs:
                self.logs[model].update()

        outcomes = run_all(
            run_next_trial,
            tasks,
            jobs=min(self.jobs, len(tasks)),
            on_report=printer.report,
            on_outcome=on_outcome,
            environment=self.environment,
            standby=standby,
        )
        failed = [outcome for outcome in outcomes if outcome.status == "failed" and outcome.exit_code is None]
        if failed and len(failed) == len(outcomes):
            if self.way.debug and failed[0].traceback:
                print(failed[0].traceback, file=sys.stderr)
            reason = str(failed[0].error).removeprefix("TrainingError: ")
            raise UserError(f"no trial could be carried out: {reason}")

    def _left(self) -> int:
        from ..tuning import slots

        return sum(slots.slot_counts(study, search.config).left for study, search in self.pairs)

    # --- the end ------------------------------------------------------------------------------------------------------

    def _finish(self, request: SearchRequest, data: Data) -> int:
        """Write the best configurations, train them beside the defaults, and say what was found."""
        from ..tuning.final import final_plans, find_winner, write_best
        from .tune_output import show_search_results

        found = [find_winner(study, search) for study, search in self.pairs]
        winners = [winner for winner in found if winner is not None]
        for winner in winners:
            write_best(self.root, winner)
        outcomes = [self._outcome(*pair) for pair in self.pairs]
        show_search_results(self.root, outcomes, hidden_place(self.place), is_done=not self._left())
        code = 0 if len(winners) == len(self.pairs) and not self._left() else 1
        if self._is_late():
            code = 0 if winners else 1
        if not (request.final and winners):
            print_where_to_look(self.root, [search.plan for _, search in self.pairs])
            return code
        return max(code, self._train_final(final_plans(winners, request.seeds, data)))

    def _outcome(self, study: optuna.Study, search: ModelSearch) -> ModelOutcome:
        """What the search came to for one model."""
        from ..tuning import slots
        from ..tuning.final import BEST_FILE
        from .tune_output import ModelOutcome

        ended, best = records(study), slots.best_trial(study)
        counts = slots.slot_counts(study, search.config)
        default = search.space.defaults()
        first = [record.value for record in ended if record.slot == 0 and record.status == "completed"]
        failed = [record for record in ended if record.status == "failed"]
        changed = {} if best is None else {n: (default[n], v) for n, v in best.params.items() if v != default[n]}
        return ModelOutcome(
            search.model,
            counts.finished,
            search.config.total,
            sum(record.status == "pruned" for record in ended),
            len(failed),
            None if best is None or best.value is None else (best.value, best.number, best.user_attrs[slots.PHASE]),
            next(iter(first), None),
            changed,
            self.root / search.plan.folder / BEST_FILE,
            failed[-1].error if failed else None,
        )

    def _train_final(self, plans: Sequence[RunPlan]) -> int:
        from ..experiment import prepare_resume
        from ..plan import write_plan

        write_plan(self.root, plans, shown_command(sys.argv))
        plans, unfinished = prepare_resume(self.root, plans, {})
        if not unfinished:
            show_results(self.root, plans)
            return 0
        print(f"\ntraining the best configurations beside the default ones: {len(unfinished)} runs", flush=True)
        return carry_out(self.root, plans, unfinished, self.way, resume=True)


def records(study: optuna.Study) -> list[TrialRecord]:
    """How the ended trials of a study went."""
    from ..tuning import slots

    return slots.records(study)


def hidden_place(place: str) -> str:
    """The storage without its password."""
    from ..data.reading.sources import hide_password

    return hide_password(place)
