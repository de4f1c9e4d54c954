"""Handwritten digits in domains, beside domains of noise (``noise_domains``) or with wrong labels (``label_noise``)."""
