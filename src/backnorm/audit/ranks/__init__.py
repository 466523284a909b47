"""What a layer does over several processes, each with a part of the batch.

`world` says what processes are asked and answer, `cuts` what each of them gets, `laws` which
statistics y was normalized with, `probes` judge, and `conduct` adds all of it to a record.
"""

from __future__ import annotations

__all__: list[str] = []
