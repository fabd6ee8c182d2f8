"""The server's doors: our own routes, those that other clients know, and what guards them."""
