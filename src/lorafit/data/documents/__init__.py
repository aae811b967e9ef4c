"""Documents and source trees to training text: read, mended, cut on structure, each chunk with its place.

    found = read_documents(["handbook/", "faq.html"])
    chunks = chunk_documents(found.documents, limit=2000)
    print(found)  # what could not be read, why, and how to mend it; what was left out, counted by reason

One file a format (`pdf`, `word`, `web`, `epub`, `plain`, `code`), each from bytes to Documents; `walk` finds the files,
`mend` and `layout` put extracted text in order, `chunk` cuts it.
"""

from lorafit.data.documents.chunk import chunk_documents
from lorafit.data.documents.document import Chunk, Document, DocumentSet, Skipped
from lorafit.data.documents.read import read_documents

__all__ = ["Chunk", "Document", "DocumentSet", "Skipped", "chunk_documents", "read_documents"]
