package broker

// Schedules name time zones, and the machine that a broker runs on may have none.
import _ "time/tzdata"
