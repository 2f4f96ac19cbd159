"""The reply matrix: what a server can do wrong, where, and what has to be known of it then.

:mod:`.cells` is the table's axes, :mod:`.model` what the laws say of each cell,
:mod:`.wire` a server and a connection in memory, and :mod:`.drive` plays a cell.
The model knows nothing of the implementation: it was written from the laws.
"""
