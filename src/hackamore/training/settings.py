"""What a training may be told: one object, from a TOML file, from options, or from Python."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from hackamore.core.section import Section

Form = Literal["controlnet", "t2i-adapter", "t2i-adapter-light", "xs", "control-lora", "union"]
"""Kinds of networks that can be trained."""
Momentum = Annotated[float, Field(ge=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]


class RunSettings(Section):
    """How long and how fast a run trains. Every field reaches exactly what it names."""

    steps: int = Field(gt=0)
    batch_size: int = Field(16, gt=0, description="examples a step, over all processes and accumulated parts")
    accumulate: int = Field(1, gt=0, description="parts in which a process works through its share of the batch")
    lr: float = Field(
        1e-3, gt=0, description="learning rate at its height; of a control by default 0.032 over the width of the base"
    )
    warmup: int = Field(100, ge=0, description="steps of linear rise")
    flat: float = Field(0.4, ge=0, le=1, description="share of the run before the cosine fall begins")
    final: float = Field(0.05, ge=0, le=1, description="learning rate at the end, as a share of lr")
    optimiser: Literal["adamw", "adamw8bit", "adafactor", "sgd"] = "adamw"
    betas: tuple[Momentum, Momentum] = Field((0.9, 0.99), description="sgd takes the first as momentum; adafactor none")
    weight_decay: float = Field(0.01, ge=0)
    clip: float = Field(1.0, gt=0, description="largest gradient norm")
    ema: float | None = Field(0.999, ge=0, lt=1, description="decay of the averaged weights; 0 keeps none")
    precision: Literal["no", "bf16", "fp16"] = "no"
    compile: bool = Field(False, description="torch.compile the step")
    channels_last: bool = Field(False, description="convolution weights and features in channels-last memory format")
    prefetch: int = Field(1, ge=0, description="batches that are prepared in the background")
    seed: Seed = 0
    log_every: int = Field(50, gt=0)
    checkpoint_every: int = Field(1000, gt=0)
    keep: int = Field(2, gt=0, description="checkpoints that are kept, newest first")
    sample_every: int = Field(1000, gt=0)

    @field_validator("ema")
    @classmethod
    def _none(cls, value: float | None) -> float | None:
        """TOML has no word for nothing."""
        return value or None


class ControlSettings(Section):
    """Which network is trained, and from what."""

    form: Form = "controlnet"
    init: str | None = Field(None, description="a control to go on from, instead of a fresh one")
    transfer_from: str | None = Field(None, description="the base that init was made for; it is moved to this one")
    only_mid: bool = Field(False, description="speak after the mid block only")
    unlocked: bool = Field(False, description="also train the base's decoder and output (sd_locked=False)")
    unlocked_lr: float = Field(2e-6, gt=0, description="learning rate of the unlocked part")
    zero_scale: float = Field(3.0, gt=0, description="learning rate of zero convolutions and hint encoder, times lr")
    hint_start: float = Field(
        1.0, ge=0, description="how strong the fresh hint encoder speaks inside the copy, 1 is as strong as the latents"
    )
    rank: int = Field(32, gt=0, description="control-lora: rank of its layers")
    size_ratio: float = Field(0.1, gt=0, le=1, description="xs: width of its levels, times the base's")
    layers: int | None = Field(None, gt=0, description="SD3 and FLUX: blocks that are copied")
    eight_bits: bool = Field(False, description="store large convolutions of the finished control in fp8")


class ObjectiveSettings(Section):
    """What is minimised."""

    prediction: Literal["epsilon", "v_prediction", "flow"] | None = Field(None, description="by default the base's own")
    timesteps: Literal["uniform", "cubic", "logit-normal"] = "uniform"
    logit_mean: float = 0.0
    logit_std: float = Field(1.0, gt=0)
    min_snr: float | None = Field(None, gt=0, description="gamma of min-SNR weighting")
    offset_noise: float = Field(0.0, ge=0, description="strength of noise that is one number a channel")
    zero_terminal_snr: bool = Field(False, description="rescale the noise schedule so that the last step is pure noise")
    prompt_dropout: float = Field(0.3, ge=0, le=1, description="share of captions replaced by the empty one")
    hint_dropout: float = Field(0.0, ge=0, le=1, description="share of hints replaced by black")
    joint_dropout: float = Field(0.0, ge=0, le=1, description="share of examples that lose both")


class RewardSettings(Section):
    """ControlNet++'s consistency reward: the one-step denoised picture is read back and compared with the hint."""

    weight: float = Field(0.0, ge=0, description="of the mean over the rows that are decoded; 0 is no reward")
    start: float = Field(0.7, ge=0, le=1, description="share of the run before it begins")
    below: float = Field(0.4, gt=0, le=1, description="only timesteps below this share of the schedule")
    share: float = Field(1.0, gt=0, le=1, description="share of a batch's rows that are decoded")
    reader: Path | None = Field(None, description="weights of a reader that train.reader wrote; some kinds need none")


class MemorySettings(Section):
    """What is kept where."""

    base_dtype: Literal["fp32", "bf16", "fp16"] = "fp32"
    cache: bool = Field(True, description="encode every picture and caption once, and keep that")
    ahead: bool | None = Field(
        None, description="all of it before the first step; by default where each is seen twice, or on a GPU"
    )
    gradient_checkpointing: bool = False


class ProbeSettings(Section):
    """Control fidelity while it trains, on examples that are held back."""

    every: int = Field(250, ge=0, description="steps between probes; 0 is none")
    count: int = Field(16, gt=1, description="examples; they are held back from the training data")
    data: str | None = Field(None, description="a folder of pairs to probe on instead, or worlds")
    kind: str | None = Field(None, description="as which kind of hint it is read back; by default the control's own")
    steps: int = Field(10, gt=0, description="of sampling; fewer rank controls as well, and understate them")
    guidance: float | None = Field(1.0, ge=0, description="1 shows the control alone; 0 is what the base likes")
    seed: Seed = 0
    patience: int | None = Field(None, gt=0, description="stop after so many probes without a rise")

    @field_validator("guidance")
    @classmethod
    def _none(cls, value: float | None) -> float | None:
        """TOML has no word for nothing."""
        if value is not None and 0 < value < 1:
            raise ValueError("below 1 there is only 0, what the base likes")
        return value or None


class TrackSettings(Section):
    """Who else is told how it goes."""

    trackers: tuple[Literal["tensorboard", "wandb"], ...] = Field((), description="one or both")
    project: str = "hackamore"
    page: bool = Field(True, description="training.html beside the log")
    push: str | None = Field(None, description="hub repository that the finished control goes to")

    @field_validator("trackers", mode="before")
    @classmethod
    def _several(cls, value: Any) -> Any:
        """One may come without brackets."""
        return (value,) if isinstance(value, str) else value
