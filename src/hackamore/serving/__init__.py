"""Jobs and their queue, the HTTP interfaces, and the canvas: one engine behind all of them."""
