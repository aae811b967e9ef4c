"""Files and data set ids to rows: `find` names the files, `opened` unpacks them, one file a format reads the rows."""
