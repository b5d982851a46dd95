"""Many runs: a sweep varies settings on Ray Tune, a comparison compares methods."""
