//! End-to-end tests over real processes and sockets, frozen wire vectors, and tidy.
