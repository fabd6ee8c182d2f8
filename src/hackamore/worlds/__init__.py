"""Procedural landscapes with exact truth: the training data of the small base, and the yardstick of every control."""

from hackamore.worlds.render import Camera, World, render, render_scene
from hackamore.worlds.scene import Scene, make_scene

MIXTURE = {"people": 0.25, "sights": 0.3, "styles": 0.2}
"""The chances of the worlds that Meadow has seen, as :func:`render` takes them."""

__all__ = ["MIXTURE", "Camera", "Scene", "World", "make_scene", "render", "render_scene"]
