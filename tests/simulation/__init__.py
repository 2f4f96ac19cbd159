"""A simulated day: a fake clock, scripted servers, and a sender that knows the future."""
