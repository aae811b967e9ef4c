"""`lorafit evaluate`: a model and its base on the same questions, from files to scores and a page."""
