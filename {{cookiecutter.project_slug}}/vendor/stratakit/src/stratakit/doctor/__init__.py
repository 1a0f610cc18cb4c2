"""What there is on this machine, what is missing for which tier, and the command that gets it.

It has to work where little else does: at import it needs the standard library alone. What a look
needs beyond that it imports itself, and whichever way a look fails, that is a finding.
"""
