"""Procedural landscapes with exact truth: the training data of the small base, and the yardstick of every control."""

from hackamore.worlds.render import Camera, World, render, render_scene
from hackamore.worlds.scene import Scene, make_scene

__all__ = ["Camera", "Scene", "World", "make_scene", "render", "render_scene"]
