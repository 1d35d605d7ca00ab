use cache_engine::invalidates;

#[invalidates(tags = "user:{id}")]
async fn not_a_list(id: u64) {
    drop(id);
}

#[invalidates(soft)]
async fn nothing_to_soften(id: u64) {
    drop(id);
}

#[invalidates(tags = ["user:{id}"], soft = 1)]
async fn not_a_bool(id: u64) {
    drop(id);
}

#[invalidates(tags = ["user:{id}"], soft, soft = true)]
async fn twice(id: u64) {
    drop(id);
}

fn main() {}
