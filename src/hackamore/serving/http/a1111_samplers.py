"""The WebUI's names of samplers and their noise schedules, and ours."""

from __future__ import annotations

from dataclasses import dataclass

from hackamore.core.errors import HackamoreError, unknown_name

AUTOMATIC, UNIFORM, KARRAS = "automatic", "uniform", "karras"
SCHEDULES: dict[str, str] = {AUTOMATIC: "Automatic", UNIFORM: "Uniform", KARRAS: "Karras"}
"""Names of noise schedules that are understood, and their labels."""


@dataclass(frozen=True)
class Sampler:
    """A sampler of the WebUI: our scheduler for each noise schedule it may be asked with, and its other names."""

    schedules: dict[str, str]
    aliases: tuple[str, ...] = ()
    noisy: bool = False
    """Whether it adds noise on the way, as much as ``eta`` says."""


SAMPLERS: dict[str, Sampler] = {
    "Euler a": Sampler({"": "euler_a", UNIFORM: "euler_a"}, ("k_euler_a", "k_euler_ancestral"), noisy=True),
    "Euler": Sampler({"": "euler", UNIFORM: "euler"}, ("k_euler",)),
    "DPM++ 2M": Sampler(
        {"": "dpm++_2m", UNIFORM: "dpm++_2m", AUTOMATIC: "dpm++_2m_karras", KARRAS: "dpm++_2m_karras"}, ("k_dpmpp_2m",)
    ),
    "DPM++ 2M Karras": Sampler({"": "dpm++_2m_karras", KARRAS: "dpm++_2m_karras"}, ("k_dpmpp_2m_ka",)),
    "DDIM": Sampler({"": "ddim", UNIFORM: "ddim"}),
    "UniPC": Sampler({"": "unipc", UNIFORM: "unipc"}),
    "LCM": Sampler({"": "lcm", UNIFORM: "lcm"}),
}
"""By the WebUI's name. Without a schedule each has its own; only DPM++ 2M means another by ``automatic``."""


def sampler_named(name: str, schedule: str | None = None) -> tuple[str, str]:
    """(the WebUI's name, our scheduler) of a sampler by any of its names or by ours, with the ``schedule`` asked for.

    Raises :class:`HackamoreError` for a sampler or a schedule that is not here; it lists what is.
    """
    wanted = name.strip().lower()
    for label, sampler in SAMPLERS.items():
        names = (label.lower(), sampler.schedules[""], *sampler.aliases)
        if wanted in names:
            return label, _scheduler(label, sampler, (schedule or "").strip().lower())
    raise unknown_name("sampler", name, list(SAMPLERS))


def _scheduler(label: str, sampler: Sampler, schedule: str) -> str:
    found = sampler.schedules.get(schedule)
    if found is None and schedule == AUTOMATIC:
        found = sampler.schedules[""]
    if found is None:
        known = ", ".join(SCHEDULES[one] for one in (AUTOMATIC, *filter(None, sampler.schedules)) if one in SCHEDULES)
        raise HackamoreError(f"the sampler {label} does not go with the schedule {schedule}", expected=known)
    return found
