"""The web page over run folders: it reads them, and starts `lorafit` commands; nothing depends on it."""
