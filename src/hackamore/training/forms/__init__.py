"""The networks that can be trained, each behind the same door.

``make.py`` makes one as settings say, ``trained.py`` is the door, ``write.py`` writes the finished control.
"""

from __future__ import annotations

from hackamore.training.forms.make import make_form as make_form
from hackamore.training.forms.trained import Trained as Trained
