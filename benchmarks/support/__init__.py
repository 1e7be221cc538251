"""Parts of the benchmarks: worlds, phones, proxies, plots. Each claim is a file one level up."""
