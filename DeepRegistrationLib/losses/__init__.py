"""What trains the networks beyond similarity and regularity: labels, adversaries, features, scales, whole objectives.

``labels`` Dice, overlap, class-balanced cross-entropy · ``adversarial`` discriminator, generator, cycle ·
``perceptual`` distance of a frozen encoder's features · ``multiscale`` the FlowNet with ROI's sum over scales ·
``sar`` the terms of SAR-Net · ``objectives`` each paper's total, term by term.

Similarities of two images are in ``similarity``, penalties on a field in ``regularization``.
"""
