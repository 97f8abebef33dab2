"""What ``DiffusionLogger`` writes: the fifteen numbered categories of the diffusion guide, on the global-step axis."""

from __future__ import annotations

from .spec import Cost, Direction, Kind, MetricSpec

LOSS = "01_Training/Loss"
TRAINING_RATE = "01_Training/Learning_Rate"
TRAINING_NORM = "01_Training/Gradient_Norm"
LOSS_COMPONENT = "02_Loss_Components/{name}"
EPOCH_SUMMARY = "03_Epoch_Summary/{name}"
RATE = "04_Learning_Rate/Current"
RATE_AHEAD = "04_Learning_Rate/In_{steps}_Steps"
SCHEDULER_STATE = "04_Learning_Rate/Scheduler_{name}"
SCHEDULE_IMAGE = "04_Learning_Rate/Schedule"
SAMPLES_PER_SECOND = "05_Performance/Samples_Per_Second"
STEPS_PER_SECOND = "05_Performance/Steps_Per_Second"
STEP_TIME = "05_Performance/Step_Time_ms"
NOISE_MSE = "06_Diffusion/Noise_Prediction_MSE"
NOISE_MSE_BUCKET = "06_Diffusion/Noise_Prediction_MSE_Bucket_{bucket}"
DENOISED_MSE = "06_Diffusion/Denoised_MSE"
SNR = "06_Diffusion/Signal_to_Noise_Ratio"
SNR_BUCKET = "06_Diffusion/Signal_to_Noise_Ratio_Bucket_{bucket}"
BETA = "06_Diffusion/Beta"
NOISE_CORRELATION = "07_Noise_Analysis/Correlation"
NOISE_STATISTIC = "07_Noise_Analysis/Noise_{name}"
TIMESTEP_MEAN = "07_Noise_Analysis/Timestep_Mean"
TIMESTEP_SHARE = "07_Noise_Analysis/Timestep_Share_Bucket_{bucket}"
TIMESTEPS = "07_Noise_Analysis/Timesteps"
VIDEO_STATISTIC = "07_Noise_Analysis/Video_{name}"
PARAMETERS_TOTAL = "08_Model_Architecture/Total_Parameters"
PARAMETERS_TRAINABLE = "08_Model_Architecture/Trainable_Parameters"
TRAINABLE_PERCENT = "08_Model_Architecture/Trainable_Percent"
USED_PERCENT = "08_Model_Architecture/Parameters_With_Gradient_Percent"
PARAMETER_MEMORY = "08_Model_Architecture/Parameter_Memory_GB"
MODEL_TABLE = "08_Model_Architecture/Summary"
PARAMETER_STATISTIC = "09_Parameter_Stats/{statistic}/{layer}"
PARAMETER_HISTOGRAM = "10_Parameter_Histograms/{parameter}"
GRADIENT_NORM_TOTAL = "11_Gradient_Stats/Total_Gradient_Norm"
GRADIENT_NORM_LAYER = "11_Gradient_Stats/Norm/{layer}"
GRADIENT_NORM_SMALLEST = "11_Gradient_Stats/Smallest_Layer_Norm"
GRADIENT_NORM_LARGEST = "11_Gradient_Stats/Largest_Layer_Norm"
GRADIENT_HISTOGRAM = "11_Gradient_Stats/Histogram/{parameter}"
GENERATED_VIDEOS = "12_Generated_Samples/Videos"
GENERATED_MSE = "12_Generated_Samples/MSE"
GENERATED_PSNR = "12_Generated_Samples/PSNR"
GENERATED_FRAMES = "12_Generated_Samples/Frames"
GENERATED_TEST_FRAMES = "12_Generated_Samples/Frames_test"
CAPTION_GAIN = "06_Diffusion/Caption_Gain"
QUALITY_TAGS = {
    "caption_gain": CAPTION_GAIN,
    "caption_accuracy": "12_Generated_Samples/Caption_Accuracy",
    "word_accuracy": "12_Generated_Samples/Word_Accuracy",
    "frame_accuracy": "12_Generated_Samples/Frame_Accuracy",
    "all_frames_accuracy": "12_Generated_Samples/All_Frames_Accuracy",
    "frechet_distance": "12_Generated_Samples/Frechet_Distance",
    "diversity_ratio": "12_Generated_Samples/Diversity_Ratio",
    "nearest_ratio": "12_Generated_Samples/Nearest_Clip_Ratio",
    "copies": "12_Generated_Samples/Copies",
}
"""Where a model's ``validation_metrics`` of these names go."""
GENERATED_STATISTIC = "12_Generated_Samples/Sample_{name}"
NOISE_VIDEOS = "13_Noise_Visualization/Predicted_and_Actual"
GPU_MEMORY = "14_System/GPU_Memory_Allocated_GB"
GPU_MEMORY_PEAK = "14_System/GPU_Memory_Peak_GB"
GPU_UTILIZATION = "14_System/GPU_Utilization_Percent"
PROCESS_MEMORY = "14_System/Process_Memory_GB"
CONFIGURATION = "15_Configuration/{name}"

_HEADINGS = {
    "01": "01 Training", "02": "02 Loss components", "03": "03 Epoch summary", "04": "04 Learning rate",
    "05": "05 Performance", "06": "06 Diffusion", "07": "07 Noise analysis", "08": "08 Model architecture",
    "09": "09 Parameter statistics", "10": "10 Parameter histograms", "11": "11 Gradient statistics",
    "12": "12 Generated samples", "13": "13 Noise visualization", "14": "14 System", "15": "15 Configuration",
}  # fmt: skip


def _spec(
    tag: str, unit: str, direction: Direction, help: str, chart: str | None = "", *, cost: Cost = "cheap"
) -> MetricSpec:
    """A curve; its category is the one its tag is numbered with."""
    heading = _HEADINGS[tag[:2]]
    return MetricSpec(tag, unit, direction, "step", cost, heading, help, chart=chart, timed=tag[:2] in ("05", "14"))


def _other(tag: str, kind: Kind, help: str) -> MetricSpec:
    """A picture, a text or a distribution."""
    return MetricSpec(tag, "", "none", "step", "expensive", _HEADINGS[tag[:2]], help, kind=kind)


SPECS: tuple[MetricSpec, ...] = (
    _spec(LOSS, "loss", "lower", "Training loss, mean over the last 100 steps."),
    _spec(TRAINING_RATE, "per step", "none", "Learning rate of the first parameter group."),
    _spec(TRAINING_NORM, "loss per weight", "none", "Gradient norm before clipping."),
    _spec(LOSS_COMPONENT, "loss", "lower", "A part of the loss.", "Parts of the loss"),
    _spec(EPOCH_SUMMARY, "", "none", "A value of the whole epoch, at the step the epoch ended with.", None),
    _spec(RATE, "per step", "none", "Learning rate of the first parameter group.", "Learning rate now and ahead"),
    _spec(
        RATE_AHEAD, "per step", "none", "Learning rate after so many further steps of the scheduler, where decided.",
        "Learning rate now and ahead",
    ),
    _spec(SCHEDULER_STATE, "", "none", "State of the scheduler: its step, and what an adaptive one waits for.", None),
    _other(SCHEDULE_IMAGE, "image", "Learning rates that were used and those that the scheduler will give."),
    _spec(SAMPLES_PER_SECOND, "samples/s", "higher", "Training speed."),
    _spec(STEPS_PER_SECOND, "steps/s", "higher", "Training speed."),
    _spec(STEP_TIME, "ms", "lower", "Time of a step."),
    _spec(
        NOISE_MSE, "", "lower",
        "Mean squared error of the predicted noise. Where a network predicts samples, small errors of hardly noisy "
        "ones are large errors of their noise: look at the quarters of the timesteps.",
    ),
    _spec(DENOISED_MSE, "", "lower", "Mean squared error of what the noisy samples are taken for."),
    _spec(
        NOISE_MSE_BUCKET, "", "lower",
        "The same by quarter of the timesteps, 0 the least noisy, over all steps since the last point; NaN if none.",
        "Noise prediction MSE by timestep",
    ),
    _spec(
        SNR, "dB", "none",
        "Signal-to-noise ratio at the timesteps of the batch; a matter of the noise schedule, not of the data.",
        "Signal-to-noise ratio",
    ),
    _spec(SNR_BUCKET, "dB", "none", "The schedule's own ratio by quarter of the timesteps.", "Signal-to-noise ratio"),
    _spec(BETA, "", "none", "Variance that the noise schedule adds at the timesteps of the batch, mean."),
    _spec(NOISE_CORRELATION, "", "higher", "Correlation of predicted and actual noise.", cost="moderate"),
    _spec(NOISE_STATISTIC, "", "none", "Mean or deviation of predicted or actual noise.", "Noise", cost="moderate"),
    _spec(TIMESTEP_MEAN, "steps", "none", "Mean timestep of the batch.", cost="moderate"),
    _spec(
        TIMESTEP_SHARE, "fraction", "none", "Share of samples in a quarter of the timesteps since the last point.",
        "Timesteps drawn", cost="moderate",
    ),
    _other(TIMESTEPS, "histogram", "Distribution of the timesteps of the batch."),
    _spec(VIDEO_STATISTIC, "", "none", "Statistic of the training videos.", "Training videos", cost="moderate"),
    _spec(PARAMETERS_TOTAL, "parameters", "none", "Number of parameters.", None),
    _spec(PARAMETERS_TRAINABLE, "parameters", "none", "Number of parameters that are trained.", None),
    _spec(TRAINABLE_PERCENT, "%", "none", "Share of parameters that are trained.", None),
    _spec(USED_PERCENT, "%", "higher", "Share of trained parameters whose gradient is not zero.", None),
    _spec(PARAMETER_MEMORY, "GiB", "none", "Memory of the parameters.", None),
    _other(MODEL_TABLE, "text", "Table of all layers with the shapes and numbers of their parameters."),
    _spec(
        PARAMETER_STATISTIC, "weight", "none", "Mean, deviation or norm of a layer's parameters.",
        "Parameters of layers", cost="expensive",
    ),
    _other(PARAMETER_HISTOGRAM, "histogram", "Distribution of a parameter's values."),
    _spec(GRADIENT_NORM_TOTAL, "loss per weight", "none", "Euclidean norm of all gradients.", cost="moderate"),
    _spec(
        GRADIENT_NORM_LAYER, "loss per weight", "none", "Euclidean norm of a layer's gradients.",
        "Gradient norm of layers", cost="expensive",
    ),
    _spec(GRADIENT_NORM_SMALLEST, "loss per weight", "none", "The least norm of a layer.", "Range", cost="expensive"),
    _spec(GRADIENT_NORM_LARGEST, "loss per weight", "none", "The greatest norm of a layer.", "Range", cost="expensive"),
    _other(GRADIENT_HISTOGRAM, "histogram", "Distribution of a parameter's gradient."),
    _other(GENERATED_VIDEOS, "image", "Generated videos side by side, as an animated GIF."),
    _spec(GENERATED_MSE, "", "lower", "Mean squared error of generated against reference videos.", cost="expensive"),
    _spec(GENERATED_PSNR, "dB", "higher", "10 log10(peak squared / MSE) of generated videos.", cost="expensive"),
    _spec(GENERATED_STATISTIC, "", "none", "Statistic of generated videos.", "Generated videos", cost="expensive"),
    _other(
        GENERATED_FRAMES, "image",
        "Frames of clips generated for fixed captions from fixed noise; green ones were read rightly, red ones not.",
    ),
    _other(GENERATED_TEST_FRAMES, "image", "The same for captions of the test part, by the best weights."),
    _spec(
        QUALITY_TAGS["caption_accuracy"], "fraction", "higher",
        "Share of generated clips in which a reader, trained on real clips, finds the caption they were drawn for.",
        "Captions that can be read",
    ),
    _spec(
        QUALITY_TAGS["word_accuracy"], "fraction", "higher",
        "The same word by word, words that are there and those that are not counting alike.",
        "Captions that can be read",
    ),
    _spec(
        QUALITY_TAGS["frame_accuracy"], "fraction", "higher",
        "Share of single frames in which the words that a still tells are the right ones: lower where clips flicker.",
        "Captions that can be read",
    ),
    _spec(
        QUALITY_TAGS["all_frames_accuracy"], "fraction", "higher",
        "Share of clips of which all frames are.", "Captions that can be read",
    ),
    _spec(
        QUALITY_TAGS["frechet_distance"], "", "lower",
        "Distance of the distributions of generated and real clips in the reader's features; few clips make it larger.",
    ),
    _spec(
        QUALITY_TAGS["diversity_ratio"], "", "higher",
        "How different clips are from one another, over the same of real ones; near 0 where all are alike.",
        "Diversity and memory",
    ),
    _spec(
        QUALITY_TAGS["nearest_ratio"], "", "higher",
        "Distance of generated clips to the nearest training clip, over the same of real clips that were held apart; "
        "near 0 where training clips are repeated.",
        "Diversity and memory",
    ),
    _spec(
        QUALITY_TAGS["copies"], "fraction", "lower",
        "Share of generated clips that are nearer to a training clip than real ones that were held apart are.",
        "Diversity and memory",
    ),
    _spec(
        CAPTION_GAIN, "fraction", "higher",
        "How much smaller the error of very noisy validation clips is with their captions than without; rises before "
        "captions can be read.",
    ),
    _other(NOISE_VIDEOS, "image", "Predicted noise at the left of the actual one, as an animated GIF; grey is 0."),
    _spec(GPU_MEMORY, "GiB", "none", "Memory of the GPU that tensors take now; only on a GPU.", "Memory"),
    _spec(GPU_MEMORY_PEAK, "GiB", "none", "The most that tensors took; only on a GPU.", "Memory"),
    _spec(GPU_UTILIZATION, "%", "higher", "Share of time the GPU was busy; only on a GPU that says so."),
    _spec(PROCESS_MEMORY, "GiB", "none", "Main memory of the training process.", "Memory"),
    _other(CONFIGURATION, "text", "Settings of the training, as a table."),
)  # fmt: skip
