"""The forms of rows: `layout` recognises them by their columns, one file a form turns fields into messages."""
