"""(placeholder until C)"""

MOST = 120
