"""Advice before a run: settings for a model, its data and a device, each with the reason for it and the source."""
