//! Making, showing and deleting records.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::IDENT;

#[tokio::test]
async fn a_record_is_made_and_shown() {
    let ident = IDENT.start(&[]).await;
    let record =
        json!({"name": " Robb Stark ", "email": "king@deceased.north", "services": {"github": {"id": "25"}}});
    let made = ident.post("/").json(&record).send().await.unwrap();
    assert_eq!(made.status(), StatusCode::CREATED);
    let location = made.headers()["location"].to_str().unwrap().to_owned();
    let id = made.json::<Value>().await.unwrap()["id"].as_i64().unwrap();
    assert_eq!(location, format!("/{id}"));
    let shown: Value = ident.get(&location).send().await.unwrap().json().await.unwrap();
    let expected = json!({"id": id, "name": "Robb Stark", "email": "king@deceased.north", "services": {"github": {"id": "25"}}});
    assert_eq!(shown, expected);
}
