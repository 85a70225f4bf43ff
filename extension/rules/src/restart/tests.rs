//! One example for each rule of the protocol; its histories are explored in the model.
