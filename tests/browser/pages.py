"""A TensorBoard on a folder, and what a browser sees of it; for the tests of the dashboard."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--window-size=1500,1100",
)
QUIET = ("--disable-background-networking", "--disable-component-update", "--disable-sync")


@contextmanager
def tensorboard(folder: Path, port: int) -> Iterator[str]:
    """``view_tensorboard.py`` on a folder, at ``port`` or the next free one; its address."""
    view = [
        sys.executable,
        str(ROOT / "view_tensorboard.py"),
        "--logdir",
        str(folder),
        "--port",
        str(port),
        "--no-open",
    ]
    server = subprocess.Popen(view, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        printed = ""
        while not (address := re.search(r"http://\S+", printed)):
            line = server.stdout.readline()
            assert line, printed
            printed += line
        yield address[0].rstrip(",")
    finally:
        server.terminate()
        server.wait(20)


def page_text(browser: Any) -> str:
    """All text on the page, shadow roots included (TensorBoard is built of web components)."""
    script = """
        const texts = [];
        const walk = node => {
            if (node.nodeType === Node.TEXT_NODE) texts.push(node.textContent);
            if (['SCRIPT', 'STYLE'].includes(node.nodeName)) return;
            if (node.shadowRoot) walk(node.shadowRoot);
            for (const child of node.childNodes) walk(child);
        };
        walk(document.body);
        return texts.join(' ');
    """
    return " ".join(browser.execute_script(script).split())


def open_tab(browser: Any, dashboard: str, tab: str, shows: Callable[[str], bool]) -> str:
    """Open a tab and wait until it shows what is expected; its text."""
    browser.get(f"{dashboard}#{tab}")
    browser.refresh()
    text = ""
    for _ in range(60):
        text = page_text(browser)
        if shows(text):
            break
        time.sleep(0.5)
    return text


def click_tab(browser: Any, word: str) -> None:
    """Click the inner tab (of HPARAMS) whose title has the word."""
    script = """
        const walk = node => {
            if (node.tagName === 'PAPER-TAB' && node.textContent.toLowerCase().includes(arguments[0])) node.click();
            if (node.shadowRoot) walk(node.shadowRoot);
            for (const child of node.childNodes) walk(child);
        };
        walk(document.body);
    """
    browser.execute_script(script.replace("arguments[0]", repr(word)))


def parallel_lines(browser: Any) -> int:
    """How many lines the parallel coordinates of HPARAMS have."""
    script = """
        let count = 0;
        const walk = node => {
            const group = node.tagName === 'path' && node.parentNode && node.parentNode.getAttribute;
            if (group && (node.parentNode.getAttribute('class') || '').includes('foreground')) count += 1;
            if (node.shadowRoot) walk(node.shadowRoot);
            for (const child of node.childNodes) walk(child);
        };
        walk(document.body);
        return count;
    """
    return int(browser.execute_script(script))
