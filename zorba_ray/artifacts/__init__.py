"""Everything that lies in a run, sweep or comparison directory, as typed records. No torch."""
