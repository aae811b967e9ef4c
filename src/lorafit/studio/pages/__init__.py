"""One module a screen: `show(studio, ...)` builds it within the frame."""
