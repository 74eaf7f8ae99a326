"""What can be done on the forge, by whichever door it is asked: REST, git, a page or set-up code.

An act checks the rules of its noun, changes the world and tells the webhooks. Who may ask is settled before.
"""
