"""Many runs as one: a sweep varies settings on Ray Tune, a comparison holds methods against each other."""
