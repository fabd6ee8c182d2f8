"""People: who they are, how they stand, where, how they are drawn, and their key points."""
