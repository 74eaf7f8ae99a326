"""The figures of Windlass, each beside a peer or a floor that is measured in the same run, in alternating order.

Kept: no figure stands alone, so a busy machine slows both sides. Refused: absolute times as a pass or a failure.
"""
