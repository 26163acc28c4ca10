"""Numbers -> batches: manifests, dataset files, samplers, augmentation of features."""
