//! Agreement on one proposal a height, behind one adapter over the malachite core.
