"""Log-densities of the common distributions, on arrays and tracers."""
