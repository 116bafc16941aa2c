"""Where bytes are kept: atomic files, the content-addressed cache, fetching, OCI layouts."""
