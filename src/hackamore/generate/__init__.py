"""Where base, controls and sampler meet: the only place.

``plan.py`` says what will be done and refuses what cannot be, ``run.py`` does it, ``result.py`` is what comes back,
``replaying.py`` does it again from a Recipe.
"""

from __future__ import annotations

from hackamore.generate.plan import Plan as Plan
from hackamore.generate.plan import check as check
from hackamore.generate.replaying import replay as replay
from hackamore.generate.result import Image as Image
from hackamore.generate.result import Progress as Progress
from hackamore.generate.result import Result as Result
from hackamore.generate.run import generate as generate
from hackamore.sampling.tiles import Tile as Tile
from hackamore.sampling.upscale import Upscale as Upscale
