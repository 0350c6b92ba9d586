//! The only orchestrator: look, plan, act, look again, judge, tell, record.
