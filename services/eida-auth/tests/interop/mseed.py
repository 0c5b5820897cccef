"""mseed.py FILE: writes a minute of waveforms."""

import sys

import numpy
from obspy import Trace, UTCDateTime

header = dict(
    network="Z3",
    station="A001A",
    location="00",
    channel="HHZ",
    sampling_rate=1.0,
    starttime=UTCDateTime(2016, 1, 1),
)
Trace(numpy.arange(60, dtype=numpy.int32), header).write(sys.argv[1], format="MSEED")
