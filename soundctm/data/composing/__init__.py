"""How training items are composed of recordings: where sounds lie in a window, and what is around them."""
