//! What the tests share: the simulated network, scripted phones and helpers to run the program.
