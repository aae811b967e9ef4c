"""`lorafit serve`: a base and its adapters over HTTP, as OpenAI's clients ask for them.

request ─ guard ─ body ─ catalogue (name to adapter) ─ prompt ─ worker ─ reply
                                                                  │
                                          one thread: shelf (what is loaded) and engine
"""
