package broker

import _ "time/tzdata" // schedules name time zones, and the machine that a broker runs on may have none
