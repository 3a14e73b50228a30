//! What must survive: write-ahead log, segments and a rebuildable index.
