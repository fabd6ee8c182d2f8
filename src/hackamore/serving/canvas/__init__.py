"""The canvas: the page on which people paint, sketch, pose and look."""
