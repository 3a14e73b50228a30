/* The one function of C's library that secp256k1's own headers for wasm32 leave out; Rust's runtime provides it. */
void *memmove(void *to, const void *from, __SIZE_TYPE__ count);
