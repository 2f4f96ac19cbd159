"""Sites on other backends, and the pages that say how to move them."""
