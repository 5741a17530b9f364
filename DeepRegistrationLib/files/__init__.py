"""Files that are whole: every format read with its guards, every output written beside its place and moved."""
