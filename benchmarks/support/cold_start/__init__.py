"""Parts of `bench quality-cold`: splits, scores, likes and the peer."""
