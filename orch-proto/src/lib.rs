//! Placeholder of the first skeleton commit.
