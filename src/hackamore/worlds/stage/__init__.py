"""Concert stages: a dark hall with coloured spotlights, for figures to sing, play and dance in."""
